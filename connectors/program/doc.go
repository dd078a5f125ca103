// Package program runs the connectors that are programs of the user's: files of
// the repository (tier a) in a container or as a process of this host, and
// images (tier b). It sees to it that a program gets what it declared and
// nothing else, ends when it must, and leaves only ordinary files; what is in
// them it does not read. Which engine makes the containers is handed in.
package program
