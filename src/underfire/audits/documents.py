"""The documents of an audit: JUnit XML for CI, an annex of one page, and a few lines for a model card."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from xml.etree import ElementTree

import torch

from underfire.attacks.perturbations import eps_text
from underfire.audits.decision import Decision
from underfire.audits.result import Audit, Robustness, said
from underfire.version import __version__


def junit(audit: Audit, decisions: Sequence[Decision]) -> str:
    """Write decisions as JUnit XML: one test case each, with a failure if it fails, and an error to investigate."""
    suite = ElementTree.Element(
        "testsuite",
        name="underfire audit",
        tests=str(len(decisions)),
        failures=str(sum(each.state == "fail" for each in decisions)),
        errors=str(sum(each.state == "investigate" for each in decisions)),
    )
    for each in decisions:
        where = "all" if each.interpreter is None else f"{each.interpreter} at eps {eps_text(each.eps or 0.0)}"
        where += {"baseline": ", against the baseline", "control": ", a control"}.get(each.cause, "")
        case = ElementTree.SubElement(suite, "testcase", classname=f"underfire.audit.{audit.classifier}", name=where)
        if each.state != "pass":
            tag = "failure" if each.state == "fail" else "error"
            ElementTree.SubElement(case, tag, message=each.text).text = each.text
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def annex(audit: Audit, decisions: Sequence[Decision] = ()) -> str:
    """Write the annex, one page in Markdown: threat model, measures, n, intervals, doubts, versions and hashes."""
    radii = ", ".join(eps_text(eps) for eps in sorted({each.eps for each in audit.results}))
    members = ", ".join(member.about for member in audit.members)
    lines = [
        f"# Audit of {audit.classifier}",
        "",
        "**Threat model.** An attacker who knows the classifier and the interpreter changes each pixel value by at "
        f"most {radii} of its range, and wants any other class while the explanation stays as it was.",
        "",
        f"**Method.** underfire {__version__}, ensemble `{audit.ensemble}`: {members}. An image counts as fooled if "
        "one of these attacks finds a changed image, at 8 bits, that the classifier takes for another class and whose "
        "map is nearer to the clean one than random noise or chance leaves it. "
        "Joint robust accuracy is the share of all images that are classified correctly and not fooled: an upper "
        "bound, because a better attack may fool more.",
        "",
        f"**Numbers**, with 95 % intervals, {audit.count} images:",
        "",
        *_table(audit),
        "",
    ]
    if decisions:
        lines += ["**Decision.**", "", *(f"- {_where(each)}{each.state}: {each.text}." for each in decisions), ""]
    if audit.doubts:
        lines += ["**What speaks against these numbers.**", ""]
        lines += [f"- {_about(doubt.interpreter, doubt.eps)}{doubt.text}." for doubt in audit.doubts]
        lines += [""]
    lines += ["**The explanations of clean images.**", ""]
    lines += [f"- {name}: {line}." for name, found in audit.quality.items() for line in found]
    lines += [
        "",
        f"**Versions.** Python {platform.python_version()}, torch {torch.__version__}, underfire {__version__}; seed "
        f"{audit.seed}. SHA-256 of the classifier's weights and normalisation: `{audit.classifier_sha256}`. SHA-256 of "
        f"the clean images (8 bits): `{images_hash(audit)}`.",
        "",
    ]
    return "\n".join(lines)


def model_card(audit: Audit) -> str:
    """Write a few lines of Markdown for a model card."""
    lines = [
        "### Robustness of predictions and explanations",
        "",
        f"Measured by `underfire audit` {__version__}, ensemble `{audit.ensemble}`, on {audit.count} images. Joint "
        "robust accuracy: the share of images that are right, and on which no attack changed the class and "
        "kept the map.",
        "",
        *_table(audit),
        "",
        "Both are upper bounds: a better attack may fool more.",
    ]
    lines += [f"- {_about(doubt.interpreter, doubt.eps)}{doubt.text}." for doubt in audit.doubts if doubt.hides]
    return "\n".join([*lines, ""])


def images_hash(audit: Audit) -> str:
    """Compute the SHA-256 of the clean images' 8-bit values, in their order."""
    pixels = (audit.clean * 255).round().to(torch.uint8).contiguous().numpy()
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _table(audit: Audit) -> list[str]:
    lines = [
        "| interpreter | eps | clean accuracy | robust accuracy | joint robust accuracy | gradients per image here |",
        "|---|---|---|---|---|---|",
    ]
    for each in audit.results:
        cost = each.to_dict()["gradients_per_image"]
        lines.append(
            f"| {each.interpreter} | {eps_text(each.eps)} | {said(each.accuracy)} | {said(each.robust)} | "
            f"**{said(each.joint)}** | {cost:.0f} |"
        )
    return lines


def _where(decision: Decision) -> str:
    return _about(decision.interpreter, decision.eps)


def _about(interpreter: str | None, eps: float | None) -> str:
    parts = [part for part in (interpreter, None if eps is None else f"eps {eps_text(eps)}") if part]
    return f"{', '.join(parts)}: " if parts else ""


def title_of(result: Robustness) -> str:
    """Name a result in a few words."""
    return f"{result.interpreter} at eps {eps_text(result.eps)}"
