// Package verify asks a running application whether it is good: the HTTP
// health check, the smoke steps, and whether it is busy. It speaks plain HTTP
// to the address that it is given and nothing else: it knows no container, keeps
// no state between calls, and decides nothing about what follows a failure. The
// reconciler asks through it, and so does the command fairlead smoke.
package verify
