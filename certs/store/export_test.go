package store

// WithSteps has a test told of each thing that is about to be done.
func (o Options) WithSteps(step func(string)) Options {
	o.Step = step
	return o
}

// WithSteps has a test told of each thing that is about to be done.
func (t Target) WithSteps(step func(string)) Target {
	t.step = step
	return t
}
