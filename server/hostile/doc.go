// Package hostile makes requests that break a careless server, from the server's
// own OpenAPI document: every operation, with what fits and with wrong types,
// sizes, media types and names, and it judges the answers. Tests of the API and
// of the whole daemon share it; no package of the daemon may import it, and it
// knows nothing of the server but the document.
package hostile
