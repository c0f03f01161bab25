"""The command line: one file for each verb, loaded when the verb is used. stdout is data, stderr is talk."""


def main() -> None:
    """What the command `quarantine` runs."""
    from quarantine.cli.program import program

    program(prog_name="quarantine")
