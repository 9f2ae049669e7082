"""Phone numbers: the numbering plans of all regions, each compiled once into one pattern.

The plans are libphonenumber's. One pattern answers in a microsecond what parsing answers in thirty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache

# Read where the caller names no region: those whose written form is telling.
DEFAULT_REGIONS = (
    "US", "GB", "DE", "FR", "ES", "IT", "NL", "BE", "CH", "AT", "PT", "PL", "BR", "MX", "IN", "AU", "IE",
    "SE",
    "JP", "CN", "IL", "ZA", "TR",
)  # fmt: skip
_TYPES = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager",
    "uan", "voicemail",
)  # fmt: skip
SHORTEST = 7
LONGEST = 15
WITHOUT_CUE = 9
PLAUSIBLE = 0.55
_VALID = 0.85
_NANP = re.compile(r"1?[2-9][0-9]{2}[2-9][0-9]{6}")


@dataclass(frozen=True, slots=True)
class Plan:
    """The numbers of one region: valid national numbers, and what is dialled before them within it."""

    region: str
    valid: re.Pattern[str]
    trunk: re.Pattern[str] | None
    rewrite: str | None
    needs_trunk: bool

    def national(self, digits: str) -> bool:
        """Whether these are the digits of a number as written within the region."""
        trunk = self.trunk
        if trunk is not None:
            prefix = trunk.match(digits)
            if prefix and prefix.end():
                rest = digits[prefix.end() :]
                if self.rewrite and prefix.lastindex and prefix.group(prefix.lastindex):
                    rest = prefix.expand(self.rewrite) + rest
                if self.valid.fullmatch(rest):
                    return True
            elif self.needs_trunk:
                return False
        return self.valid.fullmatch(digits) is not None


@cache
def plan(region: str) -> Plan | None:
    """The plan of a region, or of a non-geographic code such as `001.800`."""
    from phonenumbers import PhoneMetadata

    code = region.removeprefix("001.")
    if code.isdigit():
        held = PhoneMetadata.metadata_for_nongeo_region(int(code), None)
    else:
        held = PhoneMetadata.metadata_for_region(region, None)
    if held is None:
        return None
    patterns = []
    for name in _TYPES:
        described = getattr(held, name, None)
        if described is not None and described.national_number_pattern:
            patterns.append(described.national_number_pattern.replace("\\d", "[0-9]"))
    if not patterns:
        return None
    trunk = held.national_prefix_for_parsing
    rules = [form.national_prefix_formatting_rule or "" for form in held.number_format]
    needs = bool(rules) and all("\\1" in rule and rule not in {"\\1", "(\\1)"} for rule in rules)
    optional = any(form.national_prefix_optional_when_formatting for form in held.number_format)
    return Plan(
        region=region,
        valid=re.compile("|".join(f"(?:{pattern})" for pattern in dict.fromkeys(patterns))),
        trunk=re.compile(f"(?:{trunk})") if trunk else None,
        rewrite=held.national_prefix_transform_rule,
        needs_trunk=needs and not optional and held.national_prefix == "0",
    )


@cache
def _regions_of_codes() -> dict[str, tuple[str, ...]]:
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return {
        str(code): tuple(f"001.{code}" if region == "001" else region for region in regions)
        for code, regions in COUNTRY_CODE_TO_REGION_CODE.items()
    }


def international(digits: str) -> float:
    """How sure digits behind a plus are a number: 0 where no country has such a code or length."""
    codes = _regions_of_codes()
    for length in (1, 2, 3):
        code = digits[:length]
        regions = codes.get(code)
        if regions is None:
            continue
        rest = digits[length:]
        if code == "1":
            return _VALID if _NANP.fullmatch(rest) and rest[0] != "1" else _plausible(digits)
        for national in (rest, rest[1:]) if rest[:1] == "0" else (rest,):
            for region in regions:
                held = plan(region)
                if held is not None and held.valid.fullmatch(national):
                    return _VALID
        return _plausible(digits)
    return 0.0


def _plausible(digits: str) -> float:
    return PLAUSIBLE if WITHOUT_CUE <= len(digits) <= LONGEST else 0.0


@lru_cache(maxsize=256)
def plans(regions: tuple[str, ...]) -> tuple[Plan, ...]:
    """The plans read for numbers in national form, in their order."""
    return tuple(held for region in dict.fromkeys(regions) if (held := plan(region.upper())) is not None)


def national(digits: str, regions: tuple[str, ...]) -> bool:
    """Whether these are a national number of one of the regions."""
    return any(held.national(digits) for held in plans(regions))


def north_american(digits: str) -> bool:
    """Whether these are ten digits, or eleven from 1 on, of the North American plan."""
    return _NANP.fullmatch(digits) is not None


def warm() -> None:
    """Compiles the plans read by default."""
    plans(DEFAULT_REGIONS)
    _regions_of_codes()
