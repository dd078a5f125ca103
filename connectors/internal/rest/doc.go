// Package rest asks services over HTTPS for the sources that are built in: with
// bounded bodies and times, no redirects, tries that are spaced out and heed
// Retry-After, and errors that name an address without its query and show no
// secret. It knows nothing of any service.
package rest
