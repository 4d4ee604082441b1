"""What the files say: the settings, the agencies that can be used, and what is wrong with the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from smsd.adapters.agencydb.reader import AgencySource, open_reader
from smsd.config.load import read_agencies, read_settings
from smsd.config.policies import (
    database_and_view,
    filter_in_effect,
    policy_of,
    positions_fingerprint,
    source_fingerprint,
)
from smsd.config.settings import Agency, Settings
from smsd.core.errors import ConfigError, ConfigProblem
from smsd.core.figures import ReportAgency
from smsd.core.model import Mode
from smsd.core.policy import AgencyPolicy
from smsd.services.polling import AgencyPlan
from smsd.services.review import REMOVED


@dataclass(frozen=True)
class Installation:
    """What the files say: the settings, the agencies that can be used, and what is wrong with the others."""

    path: Path
    settings: Settings
    agencies: Mapping[str, Agency]
    problems: Mapping[str, ConfigError]

    @cached_property
    def policies(self) -> dict[str, AgencyPolicy]:
        """What each usable agency's configuration means to the core."""
        return {id_: policy_of(self.settings, agency) for id_, agency in self.agencies.items()}

    def policy_of(self, agency: str) -> AgencyPolicy | None:
        """An agency's policy, whatever became of its file: None while it is wrong, `REMOVED` once it is gone."""
        return self.policies.get(agency) or (None if agency in self.problems else REMOVED)

    @cached_property
    def plans(self) -> dict[str, AgencyPlan]:
        """What is polled: every usable agency that is not off."""
        return {id_: self.plan(id_) for id_, policy in self.policies.items() if policy.mode is not Mode.OFF}

    def plan(self, agency: str) -> AgencyPlan:
        """How one agency is read."""
        settings, policy = self.agencies[agency], self.policies[agency]
        timeout = settings.timeout or self.settings.polling.timeout
        source = AgencySource(
            agency=agency,
            url=settings.database.get_secret_value(),
            view=settings.view,
            columns=settings.columns,
            filter=settings.filter,
            timeout=timeout,
        )
        return AgencyPlan(
            policy=policy,
            source=source_fingerprint(settings),
            positions=positions_fingerprint(policy),
            timeout=timeout,
            open_reader=partial(open_reader, source),
        )

    @cached_property
    def report_agencies(self) -> list[ReportAgency]:
        """The agencies as the reports name them; a left out one keeps its id for a name."""
        known = [
            ReportAgency(id_, agency.name, takes_part=agency.mode is not Mode.OFF)
            for id_, agency in self.agencies.items()
        ]
        return known + [ReportAgency(id_, id_) for id_ in self.problems if id_ not in self.agencies]

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """Every text in force by notice: those of smsd.yaml first, then what agencies have instead."""
        found = {kind: [notice.text] for kind, notice in self.settings.notices.items()}
        for policy in self.policies.values():
            for kind, own in policy.notices.items():
                if own.text not in found.setdefault(kind, []):
                    found[kind].append(own.text)
        return found

    @cached_property
    def notices(self) -> tuple[str, ...]:
        """Every notice configured anywhere, in the order of the reports' columns."""
        own = (kind for policy in self.policies.values() for kind in policy.notices)
        return tuple(dict.fromkeys((*(self.settings.notices), *own)))


def read_installation(
    path: Path, environ: Mapping[str, str], *, before: Installation | None = None
) -> Installation:
    """Read smsd.yaml and the agencies' files. Raises `ConfigError` for smsd.yaml only.

    On a reload (``before``) an agency whose file is wrong now stays as it was.
    """
    settings = read_settings(path, environ)
    files = read_agencies(settings, environ)
    agencies = dict(files.agencies)
    if before is not None:
        kept = {id_: before.agencies[id_] for id_ in files.problems if id_ in before.agencies}
        return _with_kept(Installation(path, settings, agencies, files.problems), kept)
    return Installation(path, settings, agencies, files.problems)


def _with_kept(read: Installation, kept: Mapping[str, Agency]) -> Installation:
    """What was read, with the agencies that stay as they were. A newcomer on the rows of one of them is left out."""
    agencies, problems = dict(read.agencies), dict(read.problems)
    rows_kept = {(database_and_view(one), filter_in_effect(one)): id_ for id_, one in kept.items()}
    for id_, agency in read.agencies.items():
        holder = rows_kept.get((database_and_view(agency), filter_in_effect(agency)))
        if holder is not None:
            message = (
                f"reads the same database, view and filter as {holder}, whose own file is wrong just now"
            )
            problems[id_] = ConfigError([ConfigProblem(str(agency.path), 1, 1, "filter", message)])
            del agencies[id_]
    everyone = dict(sorted((agencies | dict(kept)).items()))
    return Installation(read.path, read.settings, everyone, dict(sorted(problems.items())))
