from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from comfylabel.accounts.secret_key import SecretKeyUnusable, secret_key


def test_it_is_made_once_and_only_its_owner_reads_it(tmp_path: Path):
    first = secret_key(None, tmp_path / "data")

    assert secret_key(None, tmp_path / "data") == first
    assert len(first) >= 32
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["secret.key"]
    assert (tmp_path / "data" / "secret.key").stat().st_mode & 0o777 == 0o600


def test_processes_that_start_together_agree(tmp_path: Path):
    with ThreadPoolExecutor(16) as threads:
        keys = set(threads.map(lambda _: secret_key(None, tmp_path), range(64)))

    assert len(keys) == 1


def test_a_configured_key_touches_no_file(tmp_path: Path):
    assert secret_key("sixteen letters!", tmp_path) == b"sixteen letters!"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", ["", "short"])
def test_a_key_that_is_no_key_is_refused_with_its_place(tmp_path: Path, kept: str):
    (tmp_path / "secret.key").write_text(kept)

    with pytest.raises(SecretKeyUnusable, match=r"secret\.key is shorter than 16"):
        secret_key(None, tmp_path)
    with pytest.raises(SecretKeyUnusable, match="COMFYLABEL_SECRET_KEY"):
        secret_key(kept, tmp_path)
