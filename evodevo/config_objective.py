"""Define the section `objective` of a config: the fom is a metric, or the cost of reaching a target."""

import os
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from evodevo.config_cluster import Cluster
from evodevo.config_search import Search, Section

Cost = Literal["seconds", "steps", "flops"]
COSTS: tuple[Cost, ...] = ("seconds", "steps", "flops")
OF_VALIDATION = "validation_"


class Goal(Section):
    """A metric and its bound."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        _check_goal(self.metric, self.at_least, self.at_most)
        return self

    def text(self) -> str:
        """Return the goal in words."""
        if self.at_most is None:
            return f"{self.metric} of at least {self.at_least:g}"
        return f"{self.metric} of at most {self.at_most:g}"


def _check_goal(metric: str | None, at_least: float | None, at_most: float | None) -> None:
    """Raise `ValueError` unless a metric of the validation split has exactly one bound."""
    if metric is None:
        raise ValueError("metric is missing")
    if not metric.startswith(OF_VALIDATION):
        raise ValueError(
            f"metric {metric!r} is not of the validation split, the only one allowed for selection; "
            f"give one that begins with {OF_VALIDATION}"
        )
    if (at_least is None) == (at_most is None):
        raise ValueError(f"give {metric} either at_least or at_most")


class Target(Section):
    """A target for the network; the figure of merit is the cost of training until it is reached."""

    metric: str | None = None
    """A metric of the validation split. Give either this or `all`."""
    at_least: float | None = None
    """The target: the metric has to be this large, or larger."""
    at_most: float | None = None
    """The target: the metric has to be this small, or smaller."""
    all: list[Goal] | None = Field(default=None, min_length=1)
    """Several goals, `{metric, at_least | at_most}` each, to be reached at the same time."""
    evaluations: int = Field(default=1, ge=1)
    """Number of consecutive evaluations in which the target has to be reached."""
    every_steps: int = Field(ge=1)
    """Batches between evaluations, counted over the whole life."""
    cost: Cost
    """Unit of the fom: seconds of training without evaluations, steps, or FLOPs as torch counts them."""
    limit: float = Field(gt=0)
    """Cost at which a life ends. If the target is not reached, the fom exceeds the limit by how much was
    lacking."""

    @model_validator(mode="after")
    def _has_goals(self) -> Self:
        single = self.metric is not None or self.at_least is not None or self.at_most is not None
        if single == (self.all is not None):
            raise ValueError("give either metric with at_least or at_most, or several of these in all")
        if self.all is None:
            _check_goal(self.metric, self.at_least, self.at_most)
        names = [(goal.metric, goal.at_least is None) for goal in self.goals]
        if twice := next((one for one in names if names.count(one) > 1), None):
            raise ValueError(f"all has the same bound of {twice[0]} twice; remove one")
        least = self.evaluations * self.every_steps
        if self.cost == "steps" and self.limit < least:
            raise ValueError(
                f"limit is {self.limit:g} steps, but the last of {self.evaluations} evaluations, one every "
                f"{self.every_steps} steps, is at step {least}; raise limit, or lower every_steps"
            )
        return self

    @property
    def goals(self) -> list[Goal]:
        if self.all is not None:
            return self.all
        assert self.metric is not None
        return [Goal(metric=self.metric, at_least=self.at_least, at_most=self.at_most)]

    def for_workers(self) -> dict[str, Any]:
        """Return the target as plain data for `Job.target`."""
        return {
            "goals": [goal.model_dump(exclude_none=True) for goal in self.goals],
            "evaluations": self.evaluations,
            "every_steps": self.every_steps,
            "cost": self.cost,
            "limit": self.limit,
        }

    def text(self) -> str:
        """Return the target in words."""
        goals = " and ".join(goal.text() for goal in self.goals)
        row = f" in {self.evaluations} evaluations in a row" if self.evaluations > 1 else ""
        return f"{goals}{row}, evaluated every {self.every_steps} steps, within {self.limit:g} {self.cost}"


class Objective(Section):
    metric: str
    """A metric of the validation split that the workload reports, such as `validation_loss`."""
    mode: Literal["min", "max"]
    """Whether less or more of the metric is better."""
    weights: dict[str, float] | None = Field(default=None, min_length=1)
    """Metric of the workload -> weight. `metric` is then the name of the weighted sum."""
    over: Literal["last", "best"] = "last"
    """The leg of a life whose fom and parameters count: the last or the best."""
    repeats: int = Field(default=1, ge=1, le=1000)
    """Number of trainings per member, from scratch and with different seeds; the fom is their median."""
    target: Target | None = None
    """If given, the fom is the cost of reaching it, to be minimised; leave `metric` and `mode` out."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_target(cls, data: Any) -> Any:
        """Fill in the metric and mode of a target. Raises `ValueError` if others are given."""
        if not isinstance(data, dict) or data.get("target") is None:
            return data
        target = data["target"]
        cost = target.get("cost") if isinstance(target, dict) else getattr(target, "cost", None)
        if cost not in COSTS:  # reported later
            return {"metric": "to_target", "mode": "min", **data}
        own = {"metric": f"{cost}_to_target", "mode": "min"}
        for key, value in own.items():
            if data.get(key, value) != value:
                raise ValueError(
                    f"{key} is {data[key]!r}, but with target it is {value!r}, the cost of reaching it; "
                    f"leave {key} out"
                )
        if data.get("weights") is not None:
            raise ValueError("give target or weights, not both")
        return {**data, **own}

    @model_validator(mode="after")
    def _has_a_name_of_its_own(self) -> Self:
        if self.weights and self.metric in self.weights:
            raise ValueError(f"metric {self.metric!r} is one of the weights; give their sum another name")
        if self.weights and not any(self.weights.values()):
            raise ValueError("weights are all zero, so all members would be equal; give one that is not")
        return self


def problems(
    objective: Objective, search: Search, cluster: Cluster, is_program: bool, inherits: bool, timed: bool
) -> list[str]:
    """Return why lives cannot end early as configured.

    `inherits`: members start from others' parameters. `timed`: `limits.member_time_s` is given.
    """
    target, found = objective.target, _of_lives(objective, search, inherits)
    key = "objective.target" if target else "limits.member_time_s"
    if not (target or timed):
        return found
    if is_program:
        what = "evaluated while it trains" if target else "ended after a step"
        found.append(
            f"{key}: a program cannot be {what}; leave it out, or give a workload in Python (workload.use)"
        )
    if cluster.workers_per_member > 1:
        found.append(
            f"{key}: {cluster.workers_per_member} workers that train a member together "
            "(cluster.workers_per_member) cannot stop within an epoch; leave workers_per_member out"
        )
    if cluster.stacked is True:
        found.append(
            f"cluster.stacked: stacked members cannot stop at different times, as {key} requires; "
            "leave it out"
        )
    if target is None:
        return found
    if inherits:
        found.append(
            "objective.target: requires members that train from scratch, and these inherit parameters; set "
            "search.inherit to none, or search.strategy to mutate_best"
        )
    if search.soup:
        found.append("search.soup: improves a metric, but objective.target is a cost; leave it out")
    if target.cost == "seconds" and cluster.members_per_device != 1:
        found.append(
            f"cluster.members_per_device: is {cluster.members_per_device}, but members on one worker slow "
            "each other down; leave it out, or set objective.target.cost to steps or flops"
        )
    if search.steps_per_generation is not None:
        life, least = search.steps_per_generation * search.legs, target.evaluations * target.every_steps
        if life < least:
            found.append(
                f"objective.target.every_steps: the last of {target.evaluations} evaluations, one every "
                f"{target.every_steps} steps, is at step {least}, but a life has {life} "
                "(search.steps_per_generation x search.legs); lower every_steps"
            )
    return found


def _of_lives(objective: Objective, search: Search, inherits: bool) -> list[str]:
    """Return why lives cannot be repeated, stopped or compared as configured."""
    asked = {
        "objective.repeats": objective.repeats > 1,
        "objective.over": objective.over == "best",
        "search.stop_early": search.stop_early is not None,
        "search.reuse": search.reuse is not None,
    }
    if inherits:
        return [
            f"{key}: requires members that train from scratch, and these inherit parameters; set "
            "search.inherit to none"
            for key, given in asked.items()
            if given
        ]
    return [
        f"{key}: compares legs of a life, and lives have only one; raise search.legs"
        for key in ("objective.over", "search.stop_early")
        if asked[key] and search.legs == 1
    ]


def warnings(objective: Objective, cluster: Cluster) -> list[str]:
    """Return what makes seconds to the target noisy, one line each."""
    if objective.target is None or objective.target.cost != "seconds":
        return []
    found, cores = [], os.cpu_count() or 1
    workers, threads = cluster.workers, cluster.threads_per_member
    if isinstance(workers, int) and workers * threads > cores:
        found.append(
            f"cluster.workers: {workers} workers with {threads} threads each share {cores} cores of this "
            "machine, so seconds to the target will be noisy"
        )
    if cluster.workers_per_device > 1:
        found.append(
            f"cluster.workers_per_device: {cluster.workers_per_device} workers share a GPU, so seconds to "
            "the target will be noisy"
        )
    return found
