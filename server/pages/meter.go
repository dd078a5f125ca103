package pages

import "strconv"

// meter is a bar that shows a share.
type meter struct {
	Tone  string
	Share string // 0 to 100
	Label string // the same in words
}

func newMeter(tone string, share float64, label string) meter {
	return meter{tone, strconv.FormatFloat(min(max(share, 0), 1)*100, 'f', 1, 64), label}
}

// pager leads to the pages of a list before and after.
type pager struct{ Before, After, Text string }

// confirmation is a form that asks once more before something is done.
type confirmation struct {
	Action, Button, Back string
	Danger               bool
	Fields               []field
	Hidden               []option // values and, as the label, their names
}
