// Command orders is the program of the tests' tier b image.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("writing orders as", os.Getuid())
	if err := os.WriteFile(os.Getenv("FAIRLEAD_OUT")+"/orders.csv", []byte("id,total\n1,9.50\n"), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
