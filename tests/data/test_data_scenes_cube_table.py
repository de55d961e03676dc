"""Tables of cubes: which path is one, what its rows say, and every fault told with its line."""

from pathlib import Path

import pytest

from excite.data.scenes.cube_table import is_cube_table, read_cube_table
from excite.data.scenes.scene import is_scene
from excite.errors import DataError


def table_of(folder: Path, text: str, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    (folder / "table.csv").write_text(text, encoding="utf-8")
    return folder / "table.csv"


def test_a_table_of_cubes_is_known_by_its_header(tmp_path: Path) -> None:
    for number, (text, encoding, expected) in enumerate((
            ("cube,labels\na,b\n", "utf-8", True), ("Cube;Labels;Patient\n", "utf-8-sig", True),
            ("sep=;\nlabels;cube\n", "utf-8", True), ("patient\tcube\n1\t2", "utf-16", True), ("cube", "utf-8", True),
            ("image,label\ncube,x\n", "utf-8", False), ("cubes,labels\n", "utf-8", False), ("", "utf-8", False),
            ('"cube\n', "utf-8", False))):
        file = tmp_path / f"{number}.csv"
        file.write_bytes(text.encode(encoding))
        assert is_cube_table(file) is is_scene(file) is expected, text
    (tmp_path / "cube.png").write_bytes(b"cube,labels\n")
    assert not is_cube_table(tmp_path / "cube.png") and not is_cube_table(tmp_path / "gone.csv")
    assert not is_cube_table(tmp_path)


def test_rows_say_whose_cube_it_is(tmp_path: Path) -> None:
    text = "Labels,Cube,Patient ID,simulated,site\na/l.png,a\\c.npy,007,YES,x\nb/l.png,b/c.npy,8,,y\n"
    file = table_of(tmp_path, text, "a/l.png", "a/c.npy", "b/l.png", "b/c.npy")
    rows, notes = read_cube_table(file)
    assert [(row.line, row.name, row.patient, row.simulated) for row in rows] == [(2, "a", "007", True),
                                                                                (3, "b", "8", None)]
    assert [row.cube for row in rows] == [tmp_path / "a" / "c.npy", tmp_path / "b" / "c.npy"]
    assert [row.labels.name for row in rows] == ["l.png", "l.png"]
    assert notes == ["columns of the table that are not used: site"]
    for name, expected in (("group", "1"), ("subject", "1"), ("who", None)):
        file = table_of(tmp_path, f"cube,labels,{name}\na/c.npy,a/l.png,1\n")
        assert read_cube_table(file)[0][0].patient == expected
    blanks = table_of(tmp_path, "cube,labels,patient\na/c.npy,a/l.png, P1\nb/c.npy,b/l.png,P1 \n")
    assert [row.patient for row in read_cube_table(blanks)[0]] == ["P1", "P1"]
    both = table_of(tmp_path, "cube,labels,group,patient\na/c.npy,a/l.png,1,2\n")
    assert read_cube_table(both)[0][0].patient == "2" and "not used: group" in read_cube_table(both)[1][0]


@pytest.mark.parametrize(("cubes", "names"), [
    (["x/a.npy", "y/b.npy"], ["a", "b"]),
    (["x/cube.npy", "y/cube.npy"], ["x", "y"]),
    (["x/1/cube.npy", "y/1/cube.npy", "z.npy"], ["x_1_cube", "y_1_cube", "z"]),
    (["x_1/c.npy", "x/1_c.npy", "x/A.npy", "X/a.npy"], ["001_c", "002_1_c", "003_A", "004_a"]),
    (["../x/c.npy", "../y/c.npy"], ["x", "y"]),
])
def test_every_cube_has_a_name_of_its_own(tmp_path: Path, cubes: list[str], names: list[str]) -> None:
    folder = tmp_path / "tables"
    folder.mkdir()
    labels = [f"{number}.png" for number in range(len(cubes))]
    lines = "".join(f"{cube},{label}\n" for cube, label in zip(cubes, labels, strict=True))
    file = table_of(folder, f"cube,labels\n{lines}", *cubes, *labels)
    assert [row.name for row in read_cube_table(file)[0]] == names


@pytest.mark.parametrize(("text", "message"), [
    ("cube,label\na,b\n", "the table has no column labels (its columns are cube, label); a table of cubes has the "
                          "columns cube, labels, patient"),
    ("image,mask\na,b\n", "the table has no column cube and no column labels"),
    ("cube,labels\n", "the table holds no cube; it needs a header, cube, labels, patient, and a row a cube"),
    ("", "the table holds no cube"),
    ("cube,labels\nc.npy\n", "1 fault: line 2: 1 cells where the header has 2"),
    ("cube,labels,cube\nc.npy,l.png,c.npy\n", "column 'cube' is there twice"),
    ("cube,labels\nc.npy,\n,l.png\n", "2 faults: line 2: labels is empty; line 3: cube is empty; correct the table"),
    ("cube,labels\nc.npy,l.png\nd.npy,m.png\n", "line 3: the file of the cube does not exist: d.npy; line 3: the file "
                                                "of the labels does not exist: m.png"),
    ("cube,labels\nc.npy,l.png\nl.png,./l.png\n", "line 3: the labels are those of line 2"),
    ("cube,labels,patient\nc.npy,l.png,\n", "line 2: the patient is empty, and cubes of one patient must not be"),
    ("cube,labels,patient\nc.npy,l.png,P001\nc.npy,l.png,p001\n",
     "line 3: the patient is 'p001', and 'P001' above: write one patient one way, and two so that more than case and "
     "blanks differ"),
    ("cube,labels,patient\nc.npy,l.png,P 1\nc.npy,l.png,P1\n", "line 3: the patient is 'P1', and 'P 1' above"),
    ("cube,labels,simulated\nc.npy,l.png,maybe\n", "line 2: simulated must be yes, no or empty, got 'maybe'"),
    ("cube,labels\n" + "x,y\n" * 9, "26 faults: line 2: the file of the cube does not exist: x; "),
])
def test_faults_are_told_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    file = table_of(tmp_path, text, "c.npy", "l.png")
    with pytest.raises(DataError) as caught:
        read_cube_table(file)
    assert message in str(caught.value) and str(caught.value).startswith(f"{file}: ")
    if "26 faults" in message:
        assert str(caught.value).endswith("; and 16 more; correct the table")
