"""The kinds of personal data: Presidio's type names, the contract's words for them, and how grave each is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    """What the presets tell apart."""

    CONTACT = "contact"  # reaches somebody
    IDENTITY = "identity"  # says who somebody is
    FINANCE = "finance"
    SECRET = "secret"  # opens something  # noqa: S105
    TRACE = "trace"  # points at somebody at best


@dataclass(frozen=True, slots=True)
class Kind:
    """`label` is the lower-case word of the wire (contract section 2) and of tokens: `[email:a7x2b]`.

    A kind that is not `default` is looked for only where a policy names it.
    """

    label: str
    group: Group
    default: bool = True


KINDS: Mapping[str, Kind] = {
    "EMAIL_ADDRESS": Kind("email", Group.CONTACT),
    "PHONE_NUMBER": Kind("phone_number", Group.CONTACT),
    "PERSON": Kind("name", Group.IDENTITY),
    "LOCATION": Kind("location", Group.TRACE),
    "NRP": Kind("group", Group.TRACE),  # a nationality, a religion, a party: models alone find it
    "ORGANIZATION": Kind("organization", Group.TRACE, default=False),  # the same
    "STREET_ADDRESS": Kind("address", Group.CONTACT, default=False),
    "DATE_OF_BIRTH": Kind("date_of_birth", Group.IDENTITY),
    "CREDIT_CARD": Kind("credit_card", Group.FINANCE),
    "IBAN_CODE": Kind("iban", Group.FINANCE),
    "BIC": Kind("bic", Group.FINANCE),
    "US_BANK_NUMBER": Kind("bank_account", Group.FINANCE),
    "CRYPTO": Kind("crypto_wallet", Group.FINANCE),
    "US_SSN": Kind("ssn", Group.IDENTITY),
    "US_ITIN": Kind("itin", Group.IDENTITY),
    "US_PASSPORT": Kind("passport", Group.IDENTITY),
    "US_DRIVER_LICENSE": Kind("driver_license", Group.IDENTITY),
    "UK_NHS": Kind("nhs_number", Group.IDENTITY),
    "UK_NINO": Kind("nino", Group.IDENTITY),
    "DE_TAX_ID": Kind("de_tax_id", Group.IDENTITY),
    "FR_NIR": Kind("fr_nir", Group.IDENTITY),
    "ES_NIF": Kind("es_nif", Group.IDENTITY),
    "ES_NIE": Kind("es_nie", Group.IDENTITY),
    "IT_FISCAL_CODE": Kind("it_fiscal_code", Group.IDENTITY),
    "NL_BSN": Kind("nl_bsn", Group.IDENTITY),
    "PL_PESEL": Kind("pl_pesel", Group.IDENTITY),
    "BR_CPF": Kind("br_cpf", Group.IDENTITY),
    "IN_AADHAAR": Kind("in_aadhaar", Group.IDENTITY),
    "IN_PAN": Kind("in_pan", Group.IDENTITY),
    "IP_ADDRESS": Kind("ip_address", Group.TRACE),
    "MAC_ADDRESS": Kind("mac_address", Group.TRACE),
    "URL": Kind("url", Group.TRACE),
    "SECRET": Kind("secret", Group.SECRET),
}

# Kinds beyond these come from callers and from an operator's own model, in their own words.
LABELS: Mapping[str, str] = {kind.label: name for name, kind in KINDS.items()}


def label_of(kind: str) -> str:
    """The word of the wire for a kind, known or not."""
    known = KINDS.get(kind)
    return known.label if known else kind.lower()
