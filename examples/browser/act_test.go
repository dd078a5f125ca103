package browser

import "fmt"

// What somebody does to a page is one evaluation each: the element is found, is
// looked at and is acted on before the page can change under it. The browser's
// own node numbers would belong to a page that is being left.

// seen reports whether somebody could click on the middle of an element, which
// is brought into view.
const seen = `const seen = e => {
	if (!e || e.disabled || !e.checkVisibility({visibilityProperty: true})) return false;
	e.scrollIntoView({block: "center", behavior: "instant"});
	const r = e.getClientRects()[0];
	const top = r && document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2);
	return !!top && (e.contains(top) || top.contains(e));
};`

// act waits until an expression in JavaScript finds something that is seen, and
// does something to it, once.
func (b *tab) act(what, find, do string) {
	b.t.Helper()
	b.until(what, fmt.Sprintf(`(() => { %s const e = %s; if (!seen(e)) return false; %s; return true; })()`, seen, find, do))
}

func query(selector string) string {
	return fmt.Sprintf("document.querySelector(%q)", selector)
}

// click clicks on what a selector finds first, as somebody does who sees it.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.act("something to click on at "+selector, query(selector), "e.click()")
}

// press clicks on the button or link that people and screen readers call so.
func (b *tab) press(name string) {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll("button, a, summary")].find(e => e.textContent.trim().replace(/\s+/g, " ") === %q)`, name)
	b.act("something called "+name, find, "e.click()")
}

// fill writes into a field, in place of what it has.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.act("a field at "+selector, query(selector),
		fmt.Sprintf(`e.focus(); e.select(); document.execCommand("insertText", false, %[1]q); if (e.value !== %[1]q) return false`, text))
}

// choose takes an option of a select.
func (b *tab) choose(selector, value string) {
	b.t.Helper()
	b.act("a choice at "+selector, query(selector),
		fmt.Sprintf(`e.value = %[1]q; if (e.value !== %[1]q) return false; e.dispatchEvent(new Event("change", {bubbles: true}))`, value))
}
