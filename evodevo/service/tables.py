"""Tables in the style of the pages."""

from bokeh.models import ColumnDataSource, CustomJS, DataTable, TableColumn

TABLE_STYLE = """
:host { font: 13px Helvetica, Arial, sans-serif; color: #222; border: 1px solid #e4e4e2; background: white; }
.slick-header-column.ui-state-default { background: #f5f5f4; color: #666; font-weight: 500; border: none; }
.slick-cell { border: none; border-bottom: 1px solid #f0f0ee; line-height: 20px; padding: 3px 8px; }
.slick-header-column.ui-state-default { padding: 4px 8px; }
.slick-row.odd { background: white; }
.slick-cell.selected, .slick-row.odd .slick-cell.selected { background: #fdf1e7; }
"""
ROW_HEIGHT, MOST_ROWS = 27, 8


def table_height(rows: int) -> int:
    """The height of a table in pixels; long ones scroll."""
    return 32 + ROW_HEIGHT * max(1, min(MOST_ROWS, rows))


def table_of(source: ColumnDataSource, *columns: TableColumn) -> DataTable:
    """A table in this page's style."""
    table = DataTable(
        source=source,
        columns=list(columns),
        index_position=None,
        row_height=ROW_HEIGHT,
        height=table_height(0),
        autosize_mode="force_fit",
        reorderable=False,
        sizing_mode="stretch_width",
        stylesheets=[TABLE_STYLE],
    )
    # Bokeh 3.9 draws a table anew only when its view changes, and new data of as many rows leave that equal.
    source.js_on_change("data", CustomJS(args={"table": table}, code="table.view.change.emit()"))
    return table
