package deliver

// Remembered is of how many servers something is remembered.
func (d *Deliverer) Remembered() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.seen)
}
