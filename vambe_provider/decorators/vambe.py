"""``@task.vambe_open_ticket``: a function that returns a request becomes a task that opens the ticket."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from vambe_provider.compat import (
    AirflowSkipException,
    DecoratedOperator,
    context_merge,
    determine_kwargs,
    task_decorator_factory,
)
from vambe_provider.operators.vambe import VambeOpenTicketOperator

if TYPE_CHECKING:
    from airflow.sdk.bases.decorator import Task

    from vambe_provider.compat import Context, TaskDecorator

Arguments = ParamSpec("Arguments")
Request = TypeVar("Request", bound=Mapping[str, Any] | None)


class _VambeOpenTicketDecoratedOperator(DecoratedOperator, VambeOpenTicketOperator):
    """Call a function, and open the ticket that it returns; see ``VambeOpenTicketOperator``.

    What the function returns is data: it is not rendered as a template.
    """

    template_fields: Sequence[str] = (*DecoratedOperator.template_fields, *VambeOpenTicketOperator.template_fields)
    template_fields_renderers = {
        **DecoratedOperator.template_fields_renderers,
        **VambeOpenTicketOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.vambe_open_ticket"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Mapping[str, Any] | None],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """Call the function and open its ticket; skip the task when it returns None."""
        context_merge(context, self.op_kwargs)
        arguments = determine_kwargs(self.python_callable, self.op_args, context)
        self.ticket = self.python_callable(*self.op_args, **arguments)
        if self.ticket is None:
            raise AirflowSkipException("The function returned None, so there is no ticket to open.")
        return VambeOpenTicketOperator.execute(self, context)


@overload
def vambe_open_ticket_task(python_callable: Callable[Arguments, Request]) -> Task[Arguments, Request]: ...


@overload
def vambe_open_ticket_task(python_callable: None = None, **kwargs: Any) -> TaskDecorator: ...


def vambe_open_ticket_task(
    python_callable: Callable[..., Mapping[str, Any] | None] | None = None, **kwargs: Any
) -> Any:
    """Turn a function into a task that opens the ticket that the function returns.

    It is what ``@task.vambe_open_ticket`` calls. Imported and used by itself, it has types: an editor and mypy then see
    the parameters of the function.

    The function returns the fields of the request as a dict, with ``stage`` as a name or an id, or None to skip the
    task. A task retry calls it again; the ticket is opened once, as ``VambeOpenTicketOperator`` has it.

    :param python_callable: the function.
    :param kwargs: arguments of ``VambeOpenTicketOperator``; fields that are given here win over those of the function.
    """
    return task_decorator_factory(
        python_callable=python_callable, decorated_operator_class=_VambeOpenTicketDecoratedOperator, **kwargs
    )
