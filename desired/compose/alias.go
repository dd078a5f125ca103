package compose

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// maxNodes bounds a file with its aliases written out; real ones have some
// hundred. compose-go's time grows with the square of it, it writes aliases
// out, and does not end on an alias that contains itself.
const maxNodes = 20_000

// expansion measures a document with its aliases written out.
type expansion struct {
	size map[*yaml.Node]int
	open map[*yaml.Node]bool
	loop *yaml.Node // an alias that contains itself
}

func (e *expansion) measure(n *yaml.Node) int {
	if n.Kind == yaml.AliasNode {
		if e.open[n.Alias] {
			e.loop = n
			return 1
		}
		n = n.Alias
	}
	if size, ok := e.size[n]; ok {
		return size
	}
	e.open[n] = true
	size := 1
	for _, c := range n.Content {
		size = min(size+e.measure(c), maxNodes+1)
	}
	delete(e.open, n)
	e.size[n] = size
	return size
}

// finite refuses documents that compose-go would not be done with.
func (l *loader) finite(s *source, root *yaml.Node) bool {
	e := expansion{size: map[*yaml.Node]int{}, open: map[*yaml.Node]bool{}}
	size := e.measure(root)
	switch {
	case e.loop != nil:
		l.add(desired.Problem{File: s.path, Line: e.loop.Line, Text: "the alias *" + e.loop.Value + " contains itself", Hint: "write out what it stands for"})
		return false
	case size > maxNodes:
		l.add(desired.Problem{File: s.path, Line: root.Line, Text: fmt.Sprintf("the file has more than %d values when its aliases are written out", maxNodes)})
		return false
	}
	return true
}
