// Command chameleon stands in for any program of a compose file. As the first
// process of a container it runs until it is told to stop; called by a health
// check it succeeds.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if os.Getppid() == 0 && os.Getpid() != 1 {
		return // the engine executes health checks without a parent in the container
	}
	for _, arg := range os.Args[1:] {
		if arg == "--end" {
			return
		}
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGWINCH)
	<-stop
}
