package pages

// field is one control of a form with its label, its hint and what is wrong
// with what was entered. Template "field" draws it.
type field struct {
	Name, Label string
	// Type is that of an input (text, password, email, number, datetime-local),
	// or textarea, select, checkbox.
	Type         string
	Value        string
	Hint, Error  string
	Placeholder  string
	Autocomplete string
	Options      []option // of a select
	Required     bool
	Checked      bool
	Given        bool   // there is a value already, which is not shown
	Rows         int    // of a textarea
	Prefix       string // of the ID, where a page has the same name twice
	Min, Max     string
}

// option is one of a select.
type option struct{ Value, Label string }

// ID is unique on a page unless two forms have a control of one name.
func (f field) ID() string { return "f-" + f.Prefix + f.Name }

// Describes are the IDs of the texts that belong to the control.
func (f field) Describes() string {
	switch {
	case f.Hint != "" && f.Error != "":
		return f.ID() + "-error " + f.ID() + "-hint"
	case f.Error != "":
		return f.ID() + "-error"
	case f.Hint != "":
		return f.ID() + "-hint"
	}
	return ""
}

// input is a field for templates that need no more than this.
func input(kind, name, label, value, hint string) field {
	return field{Type: kind, Name: name, Label: label, Value: value, Hint: hint}
}
