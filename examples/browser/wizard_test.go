package browser

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
)

const (
	admin    = "ada@example.com"
	password = "seven lanterns over grey water"
)

// sales are the files that connectors read.
func (h *house) sales() {
	h.write(filepath.Join(h.exports, "orders.csv"), "id,region,total\n1,North,120.50\n2,South,80\n3,North,42.25\n4,West,300\n5,East,77\n6,South,20\n")
	h.write(filepath.Join(h.exports, "customers.csv"), "id,name\n1,Acme\n2,Globex\n3,Initech\n")
}

// settle goes through the whole setup, as somebody does who has just installed
// it: an administrator, a source, what it needs, its tables, the first sync.
func (b *tab) settle(h *house, instance string) {
	b.t.Helper()
	b.open("/")
	b.at("/setup", "Welcome to Fairlead")
	b.enter("E-mail address", admin)
	b.enter("Name", "Ada Lovelace")
	b.enter("Password", password)
	b.press("Make the account and continue")

	b.at("/setup/source", "Where does your data live?")
	b.enter("Name of the instance", instance)
	b.takesFiles(h, func() {})
	b.says("code", "instances/"+instance+"/connectors/")
	b.press("Commit and sync")
	b.step("done")
}

// step waits for a step of the way to a source.
func (b *tab) step(name string) {
	b.t.Helper()
	b.until("the step "+name, `location.pathname.endsWith("/`+name+`") && document.readyState === "complete"`)
}

// takesFiles goes from the choice of a source to the review of the commit.
func (b *tab) takesFiles(h *house, seen func()) {
	b.t.Helper()
	b.click("label[for=kind-files]")
	b.press("Continue")
	b.step("credentials")
	seen()
	b.enter("Folder on this machine", h.exports)
	b.press("Test and continue")
	b.step("tables")
	b.says("th[scope=row]", "orders")
	seen()
	b.press("Choose all 2")
	b.says("[data-count]", "2 chosen")
	b.press("Continue")
	b.step("review")
	seen()
}

// adds goes the same way once more, for another source, and throws it away.
func (b *tab) adds(h *house, instance string, seen func()) {
	b.t.Helper()
	b.open("/data/add?instance=" + instance)
	b.takesFiles(h, seen)
	b.press("Throw this away")
	b.until("the data again", `!location.pathname.endsWith("/review") && document.readyState === "complete"`)
}

// TestSetupWithoutScript goes through the same setup in a browser that runs no
// JavaScript, on a daemon of its own, and looks at the pages that follow.
func TestSetupWithoutScript(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sales()
	b := newTab(t, startChrome(t), h.url)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.settle(h, "plain")
	done := b.path()
	b.wait("the data, as somebody who looks again", func() bool {
		b.open(done)
		return b.has(`document.querySelector("h1").textContent.includes("Your data is here")`)
	})
	b.open("/query?instance=plain")
	b.fill("#sql", "SELECT region, sum(total) AS total FROM orders GROUP BY region ORDER BY region")
	b.press("Run")
	b.says("#result td", "South")
	for path, heading := range map[string]string{"/": "Instances", "/instances/plain": "plain", "/instances/plain/history": "plain", "/events": "Events", "/data": "Data",
		"/users": "Users", "/audit": "Audit", "/tokens": "Tokens", "/account": "Your account"} {
		if status := b.open(path); status != http.StatusOK || !b.has(`[...document.querySelectorAll("h1")].some(h => h.textContent.includes("`+heading+`"))`) {
			t.Errorf("%s without JavaScript: %d\n%s", path, status, b.state())
		}
	}
	b.click(`form[action="/logout"] button`)
	b.at("/login", "Sign in")
	if got := h.git("log", "-1", "--format=%an <%ae>"); !strings.Contains(got, admin) {
		t.Errorf("the commit of the setup is by %s", got)
	}
}
