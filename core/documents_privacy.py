"""The JSON documents of privacy; see core/documents.py."""

from __future__ import annotations

from core.documents import Document
from core.privacy.policy import DENIED, Policy
from core.privacy_policies import Owner


def policy_document(owner: Owner, effective: Policy) -> Document:
    """An own policy as it was written, and what holds with those that are broader: never whose names."""
    return {
        **({"policy": owner.privacy_policy} if owner.privacy_policy is not None else {}),
        "effective": effective_document(effective),
    }


def effective_document(policy: Policy) -> Document:
    """What holds; `operators` are the kinds that are looked for. Lists are counted and not told."""
    sought = set(policy.kinds()) | ({DENIED} if policy.deny else set())
    return {
        "on": policy.on,
        "preset": policy.preset.value,
        "operators": {kind: policy.operator(kind).value for kind in sorted(sought)},
        "otherwise": policy.default.value,
        "direction": policy.direction.value,
        "regions": list(policy.regions),
        "blockUntilAnnotated": policy.block_until_annotated,
        "model": policy.asks_model,
        "thresholds": len(policy.thresholds),
        "allow": len(policy.allow),
        "deny": len(policy.deny),
        "identities": len(policy.identities),
    }
