//go:build cgo

package duck

import "runtime"

// confined runs f in a thread that is confined and ends with it.
func confined(c confinement, f func() []error) []error {
	done := make(chan []error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := c.landlock(); err != nil {
			done <- []error{err, err, err, err}
			return
		}
		done <- f()
	}()
	return <-done
}
