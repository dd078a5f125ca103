package server

import (
	"context"
	"net"
	"net/http"
	"os/user"
	"regexp"
	"strconv"

	"golang.org/x/sys/unix"
)

type peerKey struct{}

// operatorHeader names the person behind root, as sudo tells it. It is only
// believed of root, who could write anything anyway.
const operatorHeader = "X-Fairlead-Operator"

var operatorName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$`)

// withPeer notes the user of the process at the other end of the socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if err := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || cred == nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, cred.Uid)
}

// operator names who asks.
func operator(r *http.Request) string {
	uid, known := r.Context().Value(peerKey{}).(uint32)
	if !known {
		return "unknown"
	}
	if said := r.Header.Get(operatorHeader); uid == 0 && operatorName.MatchString(said) {
		return said
	}
	return UserName(int(uid))
}

// UserName is the name of a user of this host, or "uid N" when it has none.
func UserName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "uid " + strconv.Itoa(uid)
	}
	return u.Username
}
