import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfylabel.workers.encryption import ApiKeyUnreadable, Vault

SECRET = b"0123456789abcdef"


@given(st.text())
def test_what_goes_in_comes_out_and_nothing_of_it_shows(text: str):
    vault = Vault(SECRET)
    encrypted = vault.encrypt(text)

    assert vault.decrypt(encrypted) == text
    assert vault.encrypt(text) != encrypted
    assert len(text) < 4 or text not in encrypted


def test_another_secret_opens_nothing():
    with pytest.raises(ApiKeyUnreadable, match="enter them again"):
        Vault(b"fedcba9876543210").decrypt(Vault(SECRET).encrypt("key"))
