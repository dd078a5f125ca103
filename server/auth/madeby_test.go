package auth

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// ends is a connection on this host: how it looks to who accepted it.
func ends(t *testing.T, network, address string, dial func(to string)) Visit {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go dial(l.Addr().String())
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return Visit{Near: true, from: netip.MustParseAddrPort(conn.RemoteAddr().String()), to: netip.MustParseAddrPort(conn.LocalAddr().String())}
}

// TestWhoMadeAConnection holds that a process of this user is known as one, and
// that a proxy, which has a user of its own, does not pass for somebody here.
func TestWhoMadeAConnection(t *testing.T) {
	t.Parallel()
	mine := func(to string) {
		if c, err := net.Dial("tcp", to); err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		v := ends(t, "tcp", address, mine)
		if uid, known := madeBy(v.from, v.to); !known || uid != os.Geteuid() || !v.byPerson() {
			t.Errorf("%s: made by %d, which is known: %t", address, uid, known)
		}
		v.from = netip.AddrPortFrom(v.from.Addr(), v.from.Port()^1)
		if v.byPerson() {
			t.Errorf("%s: a connection that there is not is somebody's", address)
		}
	}
	if !(Visit{Near: true}).byPerson() {
		t.Error("a command is nobody's")
	}
	if os.Geteuid() != 0 {
		return // only root has others' processes
	}
	proxy := func(to string) {
		host, port, _ := net.SplitHostPort(to)
		cmd := exec.CommandContext(t.Context(), "/bin/bash", "-c", "exec 3<>/dev/tcp/"+host+"/"+port+"; read -r <&3")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 33, Gid: 33}}
		_ = cmd.Run()
	}
	v := ends(t, "tcp", "127.0.0.1:0", proxy)
	if uid, known := madeBy(v.from, v.to); !known || uid != 33 || v.byPerson() {
		t.Errorf("made by %d, which is known: %t", uid, known)
	}
}

func TestTableOfConnections(t *testing.T) {
	t.Parallel()
	from, to := netip.MustParseAddrPort("127.0.0.1:40000"), netip.MustParseAddrPort("127.0.0.1:8700")
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	row := func(local, remote, state, uid string) string {
		return "   0: " + local + " " + remote + " " + state + " 00000000:00000000 00:00000000 00000000 " + uid + " 0 1\n"
	}
	const client, server = "0100007F:9C40", "0100007F:21FC"
	for name, c := range map[string]struct {
		table string
		known bool
	}{
		"the client's end":  {head + row(server, client, "01", "0") + row(client, server, "01", "1000"), true},
		"mapped into IPv6":  {head + row("0000000000000000FFFF0000"+client, "0000000000000000FFFF0000"+server, "01", "1000"), true},
		"over already":      {head + row(client, server, "06", "0"), false},
		"only the server's": {head + row(server, client, "01", "0"), false},
		"no table":          {"x\n\n: : :\n" + row("zz:zz", "01:1", "01", "0"), false},
		"no user":           {row(client, server, "01", "x"), false},
	} {
		if uid, known := userIn(strings.NewReader(c.table), from, to); known != c.known || known && uid != 1000 {
			t.Errorf("%s: %d, %t", name, uid, known)
		}
	}
}
