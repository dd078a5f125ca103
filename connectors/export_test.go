package connectors

import "encoding/json"

// WithSteps has a test told of each thing that is about to be done to the disk,
// the notes or the data.
func (o Options) WithSteps(step func(string)) Options {
	o.step = step
	return o
}

// StateOf is the state in a note of a source, of which identity it is, and the
// generation that it is about.
func StateOf(note []byte) (state json.RawMessage, identity string, base int, err error) {
	m, err := readMemo(note)
	return m.State, m.StateOf, m.Base, err
}
