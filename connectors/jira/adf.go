package jira

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	maxDepth = 100
	maxText  = 1 << 20
)

// plainText is a text of Jira without its form: an Atlassian document (Cloud) or a
// string (Data Center).
func plainText(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case map[string]any:
		if v["type"] != "doc" {
			return "", false
		}
		w := &plainWriter{}
		w.node(v, 0)
		return strings.Trim(w.b.String(), "\n "), true
	}
	return "", false
}

// plainWriter walks a document. Blocks end with a line.
type plainWriter struct {
	b    strings.Builder
	cell int  // of tables that are open: a line's end there is a space
	gap  bool // a space is due before the next text
}

func (w *plainWriter) write(s string) {
	if s == "" || w.b.Len()+len(s) >= maxText {
		return
	}
	if w.gap {
		w.b.WriteByte(' ')
		w.gap = false
	}
	w.b.WriteString(s)
}

func (w *plainWriter) line() {
	switch s := w.b.String(); {
	case s == "" || s[len(s)-1] == '\n':
	case w.cell > 0:
		w.gap = s[len(s)-1] != '\t'
	default:
		w.write("\n")
	}
}

func (w *plainWriter) node(n map[string]any, depth int) {
	if depth > maxDepth || w.b.Len() > maxText-8 {
		return
	}
	attrs, _ := n["attrs"].(map[string]any)
	kind, _ := n["type"].(string)
	switch kind {
	case "text":
		text, _ := n["text"].(string)
		w.write(text)
	case "hardBreak", "rule":
		w.write("\n")
	case "mention", "status", "placeholder":
		w.write(first(attrs, "text", "id"))
	case "emoji":
		w.write(first(attrs, "text", "shortName"))
	case "inlineCard", "blockCard", "embedCard":
		w.write(first(attrs, "url"))
	case "media", "mediaInline":
		w.write(first(attrs, "alt"))
	case "date":
		w.write(day(first(attrs, "timestamp")))
	case "listItem", "taskItem", "decisionItem":
		w.line()
		w.write("- ")
	case "expand", "nestedExpand":
		w.line()
		w.write(first(attrs, "title"))
		w.line()
	case "tableCell", "tableHeader":
		w.cell++
	}
	children, _ := n["content"].([]any)
	for _, c := range children {
		if child, ok := c.(map[string]any); ok {
			w.node(child, depth+1)
		}
	}
	switch kind {
	case "paragraph", "heading", "codeBlock", "blockquote", "listItem", "taskItem", "decisionItem", "tableRow", "panel", "mediaSingle", "blockCard":
		w.line()
	case "tableCell", "tableHeader":
		w.cell, w.gap = w.cell-1, false
		w.write("\t")
	}
}

// first is the first attribute that is there.
func first(attrs map[string]any, names ...string) string {
	for _, name := range names {
		switch v := attrs[name].(type) {
		case nil:
		case string:
			if v != "" {
				return v
			}
		default:
			return fmt.Sprint(v)
		}
	}
	return ""
}

// day is a time in milliseconds as a date.
func day(milliseconds string) string {
	ms, err := strconv.ParseInt(milliseconds, 10, 64)
	if err != nil || ms < -62135596800000 || ms > 253402300799999 {
		return milliseconds
	}
	return time.UnixMilli(ms).UTC().Format(time.DateOnly)
}
