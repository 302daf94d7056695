package sheet

import "sitoo-rule/shared/sentence"

// Lines is Read in plain types, for callers that do not want to carry the
// libraries of this package: the numbers of the rows, the headings' first, their
// cells, and what is to be told of the worksheet, see Sheet.About.
func Lines(body []byte) (lines []int, cells [][]string, about sentence.Args, err error) {
	s, err := Read(body)
	if err != nil {
		return nil, nil, nil, err
	}
	lines, cells = make([]int, 0, len(s.Rows)+1), make([][]string, 0, len(s.Rows)+1)
	for _, r := range append([]Row{s.Header}, s.Rows...) {
		lines, cells = append(lines, r.Number), append(cells, r.Cells)
	}
	return lines, cells, s.About, nil
}
