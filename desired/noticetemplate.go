package desired

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// Notice is what a template of a notice sees. It holds nothing secret.
type Notice struct {
	Kind     string // one of NoticeKinds
	Instance string // empty: the host as a whole
	Host     string // the name of this machine
	Title    string // one line: what happened
	Message  string // why, in full
	Todo     string // what to do next; may be empty
	Commit   string // short; empty: not of a commit
	Subject  string // of the commit
	Author   string // of the commit
	Release  string // what people call the release
	Changes  []string
	Link     string // to the page of the instance; empty: it has none
	Reminder bool   // it was told before
	Of       string // of a recovery: the kind of what is over
	Since    time.Time
	At       time.Time
}

// The bounds of a template and of what it writes.
const (
	maxTemplate     = 4000
	maxNoticeText   = 8000
	maxNoticeNested = 2
)

// NoticeTemplate is a template that was checked.
type NoticeTemplate struct{ t *template.Template }

// ParseNoticeTemplate reads a template strictly: only the fields of Notice, and
// only what cannot take long or write much. Templates come from git.
func ParseNoticeTemplate(text string) (NoticeTemplate, error) {
	if len(text) > maxTemplate {
		return NoticeTemplate{}, fmt.Errorf("it is longer than %d characters", maxTemplate)
	}
	t, err := template.New("").Funcs(noticeFuncs()).Option("missingkey=error").Parse(text)
	if err != nil {
		return NoticeTemplate{}, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	if len(t.Templates()) > 1 {
		return NoticeTemplate{}, errors.New("define and block are not known")
	}
	if t.Tree == nil || parse.IsEmptyTree(t.Root) {
		return NoticeTemplate{}, errors.New("it is empty")
	}
	if err := permitted(t.Root, 0); err != nil {
		return NoticeTemplate{}, err
	}
	n := NoticeTemplate{t}
	for _, sample := range []Notice{{}, {Kind: "failed", Changes: []string{"a"}, Reminder: true, Subject: "s", Since: time.Unix(0, 0)}} {
		if _, err := n.Execute(sample); err != nil {
			return NoticeTemplate{}, err
		}
	}
	return n, nil
}

// Execute writes a notice. What is too long is cut.
func (n NoticeTemplate) Execute(data Notice) (string, error) {
	var b bounded
	err := n.t.Execute(&b, data)
	if err != nil && !errors.Is(err, errTooLong) {
		return "", errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	return strings.ToValidUTF8(b.String(), ""), nil
}

func checkNoticeTemplate(s string) error {
	_, err := ParseNoticeTemplate(s)
	return err
}

var errTooLong = errors.New("it is too long")

// bounded keeps the first bytes that are written to it.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxNoticeText - b.Len(); len(p) > room {
		b.Builder.Write(p[:room])
		return room, errTooLong
	}
	return b.Builder.Write(p)
}

func noticeFuncs() template.FuncMap {
	return template.FuncMap{
		"upper": strings.ToUpper, "lower": strings.ToLower, "firstLine": func(s string) string { line, _, _ := strings.Cut(s, "\n"); return line },
		"join": func(list []string, by string) string { return strings.Join(list, by) },
		"date": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
	}
}

// harmless are the functions that templates may call. Among those of
// text/template printf is not: "%999999999d" would fill the memory.
var harmless = []string{"and", "or", "not", "eq", "ne", "lt", "le", "gt", "ge", "len", "upper", "lower", "firstLine", "join", "date"}

// permitted refuses what could run long: loops over anything but the changes,
// and functions that are not harmless.
func permitted(n parse.Node, loops int) error {
	switch n := n.(type) {
	case nil, *parse.TextNode, *parse.CommentNode, *parse.DotNode, *parse.StringNode, *parse.NumberNode, *parse.BoolNode, *parse.NilNode:
		return nil
	case *parse.FieldNode:
		return isField(n.Ident)
	case *parse.VariableNode:
		return isField(n.Ident[1:])
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		return permittedAll(n.Nodes, loops)
	case *parse.ActionNode:
		return permitted(n.Pipe, loops)
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		for _, c := range n.Cmds {
			if err := permittedAll(c.Args, loops); err != nil {
				return err
			}
		}
		return nil
	case *parse.IdentifierNode:
		if !slices.Contains(harmless, n.Ident) {
			return fmt.Errorf("the function %s is not known; there are %s", n.Ident, strings.Join(harmless, ", "))
		}
		return nil
	case *parse.IfNode:
		return permittedBranch(n.BranchNode, loops)
	case *parse.WithNode:
		return permittedBranch(n.BranchNode, loops)
	case *parse.RangeNode:
		if n.Pipe.String() != ".Changes" && n.Pipe.String() != "$.Changes" || loops >= maxNoticeNested {
			return errors.New("range goes over .Changes only, twice nested at most")
		}
		return permittedBranch(n.BranchNode, loops+1)
	}
	return fmt.Errorf("%s is not known", strings.TrimPrefix(reflect.TypeOf(n).String(), "*parse."))
}

// isField lets one field of a notice through, and nothing of it: a branch that
// is seldom taken must not fail then.
func isField(names []string) error {
	if len(names) == 0 {
		return nil
	}
	if _, there := reflect.TypeFor[Notice]().FieldByName(names[0]); !there || len(names) > 1 {
		return fmt.Errorf("there is no field .%s", strings.Join(names, "."))
	}
	return nil
}

func permittedAll(list []parse.Node, loops int) error {
	for _, n := range list {
		if err := permitted(n, loops); err != nil {
			return err
		}
	}
	return nil
}

func permittedBranch(b parse.BranchNode, loops int) error {
	if err := permitted(b.Pipe, loops); err != nil {
		return err
	}
	if err := permitted(b.List, loops); err != nil {
		return err
	}
	return permitted(b.ElseList, loops)
}
