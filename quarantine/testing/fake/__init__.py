"""A whole platform in memory, `fake`, that can say no: for tests of the core, and of everything that uses providers.

    world = FakeWorld(clock)
    web = world.add("web-1", labels={"app": "web"}, ports={"22": "0.0.0.0/0"})
    world.fail("machine.patch_labels", Fault.LOSE_ANSWER)
    provider = FakeProvider(FakeSettings(accounts=("local",)), world)

What an adapter author needs for a platform of their own has the same shape: one cloud, one provider, one file per
action, and a test class per action that inherits its contract.
"""
