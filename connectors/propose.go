package connectors

import (
	"strconv"
	"strings"
)

// Propose makes a table name that is valid and not taken yet, whatever its case:
// of the short one, else of the long one, else of that with a number. It is then
// taken.
func Propose(taken map[string]bool, short, long string) string {
	name := identifier(short)
	if taken[strings.ToLower(name)] {
		name = identifier(long)
	}
	for i := 2; taken[strings.ToLower(name)]; i++ {
		suffix := "_" + strconv.Itoa(i)
		name = identifier(long)
		name = name[:min(len(name), maxName-len(suffix))] + suffix
	}
	taken[strings.ToLower(name)] = true
	return name
}

// identifier keeps of a text what a name of the contract may hold.
func identifier(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case b.Len() >= maxName:
			return b.String()[:maxName]
		case b.Len() == 0 && c >= '0' && c <= '9':
			b.WriteString("_" + string(c))
		case c < 0x80 && (c == '_' || ValidName("_"+string(c))):
			b.WriteRune(c)
		default:
			b.WriteByte('_')
		}
	}
	if b.Len() == 0 {
		return "_"
	}
	return b.String()
}
