from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stepedit_marks.content_credentials import CERTIFICATE, KEY, ContentCredentials
from stepedit_marks.watermark import THRESHOLD, Watermark, confidence, marked

from stepedit_core import Chain, Span, StepeditError, Utterance, parse_edit, verify, write_marked
from stepedit_core.recordings import packaged_speech


def _certificates(folder: Path) -> tuple[Path, Path]:
    """Make a test authority and a certificate for signing, as C2PA asks for them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, text),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "stepedit tests"),
            ]
        )

    now = datetime.datetime.now(datetime.UTC)
    authority, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

    def certificate(
        subject: str, key: Any, usage: x509.KeyUsage, is_authority: bool
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("Test authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()),
                critical=False,
            )
        )
        if not is_authority:
            builder = builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
            )
        return builder.sign(authority, hashes.SHA256())

    chain = [
        certificate("Test signer", own, _usage(sign=True), False),
        certificate("Test authority", authority, _usage(sign=False), True),
    ]
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in chain)
    (folder / "chain.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(
        own.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "chain.pem", folder / "key.pem"


def _usage(*, sign: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not sign,
        crl_sign=not sign,
        encipher_only=False,
        decipher_only=False,
    )


@pytest.fixture
def signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("c2pa")
    pytest.importorskip("cryptography")
    chain, key = _certificates(tmp_path)
    monkeypatch.setenv(CERTIFICATE, str(chain))
    monkeypatch.setenv(KEY, str(key))


def _result() -> Any:
    return Chain([parse_edit("volume:db=-3")])(packaged_speech("garden"))


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
def test_manifest_is_signed_and_read(suffix: str, tmp_path: Path, signing: None) -> None:
    target = write_marked(_result(), tmp_path / f"out{suffix}", ["c2pa", "sidecar"])
    found = ContentCredentials().find(target)
    assert found.state == "holds", found
    assert found.facts["generator"] == ["stepedit"]
    assert found.facts["record"]["chain"][0]["edit"] == "volume"
    assert "algorithmicallyEnhanced" in found.facts["record"]["digital_source_type"]
    assert Utterance.read(target).seconds == pytest.approx(
        packaged_speech("garden").seconds, abs=0.1
    )
    states = {one.mark: one.state for one in verify(target)}
    assert states["sidecar"] == states["c2pa"] == "holds"


def test_changed_sound_breaks_the_manifest(tmp_path: Path, signing: None) -> None:
    target = write_marked(_result(), tmp_path / "out.wav", ["c2pa"])
    content = bytearray(target.read_bytes())
    content[2000] ^= 0x55
    target.write_bytes(bytes(content))
    found = ContentCredentials().find(target)
    assert found.state == "broken", found
    assert (
        ContentCredentials().find(_result().utterance.write(tmp_path / "p.wav")).state == "absent"
    )


def test_what_cannot_be_signed(
    tmp_path: Path, signing: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StepeditError, match="can hold no manifest"):
        write_marked(_result(), tmp_path / "out.ogg", ["c2pa"])
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(StepeditError, match="mark c2pa") as caught:
        write_marked(_result(), tmp_path / "out.wav", ["c2pa"])
    assert "\n" not in str(caught.value) and not (tmp_path / "out.wav").exists()
    monkeypatch.delenv(KEY)
    assert KEY in str(ContentCredentials.missing())


@pytest.fixture
def perth() -> None:
    pytest.importorskip("librosa")
    if Watermark.missing():
        pytest.skip("resemble-perth is not installed")
    from stepedit_marks.watermark import _perth

    try:
        _perth()
    except StepeditError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_watermark_is_found_and_stays_inside(rate: int, perth: None) -> None:
    speech = packaged_speech("garden").resample(rate)
    made = marked(speech, [Span(1.0, 2.2)])
    assert len(made.samples) == len(speech.samples)
    differs = np.flatnonzero(made.samples != speech.samples) / rate
    assert differs.min() >= 1.0 and differs.max() <= 2.2
    assert confidence(made)[0] >= THRESHOLD > confidence(speech)[0]


def test_watermark_of_a_file(tmp_path: Path, perth: None) -> None:
    target = write_marked(_result(), tmp_path / "out.mp3", ["watermark"])
    assert Watermark().find(target).state == "holds"
    plain = packaged_speech("garden").write(tmp_path / "plain.wav")
    assert Watermark().find(plain).state == "absent"


def test_short_spans_are_left_alone() -> None:
    speech = packaged_speech("garden")
    assert marked(speech, [Span(1.0, 1.05)]) is speech
