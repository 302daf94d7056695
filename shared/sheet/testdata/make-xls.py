"""Writes the .xls files of this folder, with a program other than ours.

    python3 -m venv v && v/bin/pip install xlwt==1.3.0 && v/bin/python make-xls.py
"""

import datetime
import pathlib

import xlwt

here = pathlib.Path(__file__).parent
day = xlwt.easyxf(num_format_str="yyyy-mm-dd")
minute = xlwt.easyxf(num_format_str="yyyy-mm-dd hh:mm")
hour = xlwt.easyxf(num_format_str="h:mm")
krona = xlwt.easyxf(num_format_str='# ##0.00\\ "kr"')
plain = xlwt.easyxf()


def book(*names):
    b = xlwt.Workbook(encoding="utf-8")
    return b, *(b.add_sheet(n) for n in names)


# Headings on the second line of the second sheet; the first one is hidden.
b, hidden, s = book("dold", "bonus")
hidden.write(0, 0, "hidden")
hidden.visibility = 1
for col, name in enumerate(["e-post", "telefon", "namn", "värde", "giltig till", "aktiv"]):
    s.write(1, col, name)
for row, cells in {
    3: [("kund.ett@example.com",), (46701740605,), ("Bonus mars",), (49.5,), (datetime.date(2026, 12, 31), day), (True,)],
    4: [(" kund.tva@example.com\u00a0",), ("+46701740606",), ("5 € \U0001f600 åäö",), (1234.56, krona), (datetime.datetime(2026, 12, 31, 10, 0), minute), (False,)],
    5: [None, ("0701740607",), ("två\nrader",), (0.1 + 0.2,), (datetime.time(10, 30), hour)],
    8: [("kund.fyra@example.com",), None, None, (-3,), ("2030-12-31",), (None, day)],
}.items():
    for col, cell in enumerate(cells):
        if cell:
            s.write(row, col, cell[0], cell[1] if len(cell) > 1 else plain)
b.save(here / "table.xls")

# Texts that go on in the next record, of one and of two bytes a character.
b, s = book("a")
s.write(0, 0, "text")
for i in range(150):
    s.write(i + 1, 0, "%03d " % i + ("åäö" if i % 2 else "€") * (60 + i))
b.save(here / "long-texts.xls")

b, s = book("a")
s.write(0, 0, "value")
s.write(6, 2, xlwt.Formula("1+1"))
b.save(here / "formula.xls")

b, s = book("a")
s.write(0, 0, "value")
s.row(2).set_cell_error(1, 0x2A)
b.save(here / "error.xls")

b, s = book("a")
b.dates_1904 = True
s.write(0, 0, "validto")
s.write(1, 0, 44925, day)
b.save(here / "from1904.xls")

b, s = book("a")
b.save(here / "empty.xls")
