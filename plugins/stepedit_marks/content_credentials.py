"""C2PA manifests (C2PA 2.x, "Content Credentials"), signed with a certificate of the user's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from stepedit_core import Finding, Mark, StepeditError

__all__ = ["CERTIFICATE", "KEY", "ContentCredentials"]

CERTIFICATE, KEY = "STEPEDIT_C2PA_CERTIFICATE", "STEPEDIT_C2PA_KEY"
ALGORITHM, TIME_STAMPS = "STEPEDIT_C2PA_ALGORITHM", "STEPEDIT_C2PA_TSA"
_TYPES = {".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".m4a": "audio/mp4"}
_RECORD = "org.stepedit.provenance"
_CURE = "c2pa-python is not installed: pip install 'stepedit[c2pa]'"
_NO_MANIFEST = ("ManifestNotFound", "no JUMBF data found", "JumbfNotFound")


class ContentCredentials(Mark):
    """A signed manifest inside the file: what was done, by what, and the IPTC's source type.

    The certificate chain and the private key are PEM files that ``STEPEDIT_C2PA_CERTIFICATE`` and
    ``STEPEDIT_C2PA_KEY`` name; ``STEPEDIT_C2PA_ALGORITHM`` is es256 by default, and
    ``STEPEDIT_C2PA_TSA`` the address of a time-stamping authority.
    """

    name: ClassVar[str] = "c2pa"

    @classmethod
    def unreadable(cls) -> str | None:
        """Return a hint on what to install where the library is absent, or None."""
        return None if find_spec("c2pa") else _CURE

    @classmethod
    def missing(cls) -> str | None:
        """Return a hint on the missing library or certificate, or None."""
        for variable in (CERTIFICATE, KEY):
            given = os.environ.get(variable)
            if not given:
                return cls.unreadable() or (
                    f"set {CERTIFICATE} and {KEY} to PEM files of your certificate chain and key"
                )
            if not Path(given).is_file():
                return f"{variable}: no such file: {given}"
        return cls.unreadable()

    def problem(self, target: Path) -> str | None:
        """Refuse formats that hold no manifest."""
        if target.suffix.lower() in _TYPES:
            return None
        return f"{target.name or target} can hold no manifest; use {', '.join(sorted(_TYPES))}"

    def in_file(self, partial: Path, target: Path, record: Mapping[str, Any]) -> None:
        """Sign a manifest into the file.

        Raises:
            StepeditError: if the certificate does not serve, or the library refuses.
        """
        import c2pa

        kind = _TYPES[target.suffix.lower()]
        signed = partial.with_name(partial.name + ".c2pa")
        try:
            info = c2pa.C2paSignerInfo(
                alg=os.environ.get(ALGORITHM, "es256"),
                sign_cert=_pem(CERTIFICATE),
                private_key=_pem(KEY),
                ta_url=os.environ.get(TIME_STAMPS) or None,
            )
            with (
                c2pa.Signer.from_info(info) as signer,
                c2pa.Builder(json.dumps(_manifest(target, kind, record))) as builder,
                partial.open("rb") as source,
                signed.open("w+b") as sink,
            ):
                builder.sign(signer, kind, source, sink)
            signed.replace(partial)
        except (c2pa.C2paError, OSError, ValueError) as error:
            raise StepeditError(f"{target}: mark c2pa: {_one_line(error)}") from error
        finally:
            signed.unlink(missing_ok=True)

    def find(self, path: Path) -> Finding:
        """Read the manifest and check it against the file."""
        import c2pa

        kind = _TYPES.get(path.suffix.lower())
        if kind is None:
            return Finding(self.name, "absent", f"{path.suffix or 'this'} holds no manifest")
        try:
            with path.open("rb") as file, c2pa.Reader(kind, file) as reader:
                state, active = reader.get_validation_state(), reader.get_active_manifest() or {}
                results = reader.get_validation_results() or {}
        except (c2pa.C2paError, OSError, ValueError) as error:
            text = _one_line(error)
            if any(sign in f"{type(error).__name__} {text}" for sign in _NO_MANIFEST):
                return Finding(self.name, "absent", "the file has no manifest")
            return Finding(self.name, "broken", f"the manifest cannot be read: {text}")
        return _finding(self.name, str(state), active, results)


def _finding(
    name: str, state: str, active: Mapping[str, Any], results: Mapping[str, Any]
) -> Finding:
    """Return the finding on a manifest: its claims, and whether they fit the file."""
    signature = active.get("signature_info") or {}
    codes = [one.get("code") for one in (results.get("activeManifest") or {}).get("failure", ())]
    made_by = [one.get("name") for one in active.get("claim_generator_info") or ()]
    facts = {
        "state": state,
        "failures": codes,
        "generator": made_by,
        "issuer": signature.get("issuer"),
        "time": signature.get("time"),
        "title": active.get("title"),
        "record": next(
            (one["data"] for one in active.get("assertions") or () if one["label"] == _RECORD),
            None,
        ),
    }
    if state == "Invalid":
        return Finding(name, "broken", f"the manifest does not fit: {', '.join(codes)}", facts)
    trust = "trusted" if state == "Trusted" else "intact; its issuer is in no list of trust"
    says = f"signed by {signature.get('issuer') or 'an unnamed issuer'} ({trust})"
    return Finding(name, "holds", says, facts)


def _manifest(target: Path, kind: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest's definition: the action, its source type, and the record."""
    generator, _, version = str(record.get("generator", "stepedit")).partition(" ")
    action = {
        "action": "c2pa.edited",
        "when": record.get("created"),
        "softwareAgent": {"name": generator, "version": version},
        "digitalSourceType": record.get("digital_source_type"),
    }
    opened = {
        "action": "c2pa.created",
        "digitalSourceType": record.get("digital_source_type"),
    }
    told = {key: value for key, value in record.items() if key not in ("steps", "pieces")}
    return {
        "claim_generator_info": [{"name": generator, "version": version}],
        "format": kind,
        "title": target.name,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [opened, action]}},
            {"label": _RECORD, "data": told},
        ],
    }


def _pem(variable: str) -> bytes:
    """Return the content of the PEM file that an environment variable names."""
    return Path(os.environ[variable]).read_bytes()


def _one_line(error: Exception) -> str:
    """Return an error's text in one line."""
    return " ".join(str(error).split())[:300]
