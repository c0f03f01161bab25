"""What the name of an image means."""

import pytest

from quarantine.errors import Unsupported
from quarantine_kubernetes.image_name import image_name

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.2", "docker.io/library/nginx:1.2"),
        ("library/nginx:1.2", "docker.io/library/nginx:1.2"),
        ("docker.io/nginx:1.2", "docker.io/library/nginx:1.2"),
        ("docker.io/library/nginx:1.2", "docker.io/library/nginx:1.2"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest"),
        ("shop/web", "docker.io/shop/web:latest"),
        ("localhost/web:1", "localhost/web:1"),
        ("reg:5000/web", "reg:5000/web:latest"),
        ("Reg.Example.com/a/b/c:V1", "reg.example.com/a/b/c:V1"),
        ("reg.example.com:443/web:1", "reg.example.com/web:1"),
        ("[2001:db8::1]:5000/web:1", "[2001:db8::1]:5000/web:1"),
        (DIGEST, DIGEST),
        (f"nginx@{DIGEST}", DIGEST),
        (f"mirror.example.com/nginx:1.2@{DIGEST}", DIGEST),
    ],
)
def test_one_image_has_one_name(written: str, canonical: str) -> None:
    name = image_name(written)
    assert name.canonical == canonical == name.spellings[0]
    assert name.by_digest == (canonical == DIGEST)
    assert {image_name(spelling).canonical for spelling in name.spellings} == {canonical}


def test_every_spelling_is_known() -> None:
    assert set(image_name("nginx").spellings) == {
        f"{place}{path}{tag}"
        for place in ("", "docker.io/", "index.docker.io/")
        for path in ("nginx", "library/nginx")
        for tag in ("", ":latest")
    }
    assert set(image_name("shop/web:1").spellings) == {
        "shop/web:1",
        "docker.io/shop/web:1",
        "index.docker.io/shop/web:1",
    }
    assert set(image_name("r.example.com/w:1").spellings) == {"r.example.com/w:1", "r.example.com:443/w:1"}
    assert image_name(f"nginx@{DIGEST}").spellings == (DIGEST,)


@pytest.mark.parametrize(
    "written",
    [
        "a b",
        "Web",
        "web:",
        "web@sha256:ab",
        f"Web@{DIGEST}",
        "web:1:2",
        "reg.example.com/",
        "/web",
        "web\nother",
        "a/../b",
        DIGEST[:-1],
        f"@{DIGEST[:-1]}",
        f"web:{'x' * 129}",
        "{{ x }}",
    ],
)
def test_what_names_no_image_is_refused(written: str) -> None:
    with pytest.raises(Unsupported, match="is the name of no image"):
        image_name(written)


def test_the_key_of_an_entry_is_one_that_a_config_map_can_have() -> None:
    long = image_name("registry.example.com/" + "/".join(["team"] * 60) + ":1.2")
    assert len(long.key) <= 253
    assert long.key.replace("-", "").replace("_", "").replace(".", "").isalnum()
    assert image_name("a/b_c").key != image_name("a_b/c").key
    assert image_name("nginx").key.startswith("docker.io_library_nginx_latest.")
