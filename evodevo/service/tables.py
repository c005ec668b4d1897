"""Tables in the style of the live page."""

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
    """Return the height of a table in pixels; long tables scroll."""
    return 32 + ROW_HEIGHT * max(1, min(MOST_ROWS, rows))


def table_of(source: ColumnDataSource, *columns: TableColumn) -> DataTable:
    """Return a table in the style of the live page."""
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
    # Bokeh 3.9 redraws a table only if its view changes, which new data with as many rows do not change.
    source.js_on_change("data", CustomJS(args={"table": table}, code="table.view.change.emit()"))
    return table
