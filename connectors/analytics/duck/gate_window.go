//go:build cgo

package duck

import (
	"encoding/json"
	"strconv"
)

// maxDistance is how many rows before or after LAG and LEAD may look.
const maxDistance = 1_000_000_000

// distance is the offset of LAG and LEAD: a number, with a sign or without. The
// engine (1.5.6) copies beyond the end of its memory when it is -2^63, however
// that is put: as a sum, or by the alias of a column that is one.
func (w *walk) distance(v any, _ *scope) error {
	if v == nil {
		return nil
	}
	node, _ := v.(map[string]any)
	if children, _ := node["children"].([]any); node["class"] == "FUNCTION" && node["function_name"] == "-" && len(children) == 1 {
		node, _ = children[0].(map[string]any)
	}
	value, _ := node["value"].(map[string]any)
	number, _ := value["value"].(json.Number)
	if n, err := strconv.ParseInt(number.String(), 10, 64); node["class"] == "CONSTANT" && (value["is_null"] == true || err == nil && max(n, -n) <= maxDistance && n >= -maxDistance) {
		return nil
	}
	return refused("LAG and LEAD take their distance as a number, up to a milliard", "Write it into the statement: lag(x, 1).")
}
