// Package forge sets the status of commits on git hosts: GitHub, GitLab, Gitea
// and Forgejo. A Poster is told again and again what each instance makes of which
// commit, and sees to it that the git host says the same: the newest wins, what
// stands is not sent again, what fails is tried again. It knows no events and
// no instances, only statuses.
package forge
