package certs

// WithSteps has a test told of each thing that is about to be done to the disk.
func (o Options) WithSteps(step func(string)) Options {
	o.step = step
	return o
}
