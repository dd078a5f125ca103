package connectors

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestProposedNamesReadLikeTheirTables(t *testing.T) {
	taken := map[string]bool{}
	for _, c := range [][3]string{{"orders", "shop_orders", "orders"}, {"Orders", "old_Orders", "old_Orders"}, {"orders", "old_orders", "old_orders_2"},
		{"2024", "x", "_2024"}, {"zákazník č. 1", "x", "z_kazn_k____1"}, {"", "", "_"}} {
		if got := Propose(taken, c[0], c[1]); got != c[2] {
			t.Errorf("%q proposes %q, not %q", c[0], got, c[2])
		}
	}
}

func TestProposedNamesAreValidAndDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		taken, seen := map[string]bool{}, map[string]bool{}
		text := rapid.StringOfN(rapid.RuneFrom([]rune("aB1_.é\"")), 0, 70, -1)
		for range 20 {
			got := Propose(taken, text.Draw(t, "short"), text.Draw(t, "long"))
			if !ValidName(got) || seen[strings.ToLower(got)] {
				t.Fatalf("proposed %q", got)
			}
			seen[strings.ToLower(got)] = true
		}
	})
}
