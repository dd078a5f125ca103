package deliver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"github.com/fairlead/fairlead/certs/pair"
)

const defaultPort = "443"

// places are where a certificate is to be seen.
type places struct {
	list []netip.AddrPort
	// name says that they are the addresses of one name, some of which nobody
	// may listen at, as with localhost.
	name bool
}

func (v *visit) places(ctx context.Context) (places, error) {
	host, port, err := v.prove()
	if err != nil {
		return places{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return places{}, fmt.Errorf("%q is no port", port)
	}
	addrs, named := v.containers, false
	if host != "" {
		if addrs, named, err = resolve(ctx, host); err != nil {
			return places{}, err
		}
	}
	p := places{name: named}
	for _, a := range addrs {
		if a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() {
			return places{}, fmt.Errorf("%s is no address of a server", a)
		}
		p.list = append(p.list, netip.AddrPortFrom(a, uint16(number)))
	}
	return p, nil
}

// prove is the host, empty for the containers, and the port to look at.
func (v *visit) prove() (host, port string, err error) {
	text := cmp.Or(v.r.Prove, ":"+defaultPort)
	if host, port, err = net.SplitHostPort(text); err != nil {
		return "", "", fmt.Errorf("prove: %q is neither HOST:PORT nor :PORT", text)
	}
	if host != "" || v.r.Service != "" {
		return host, port, nil
	}
	if a, err := parseAdmin(v.r.Caddy); v.r.Caddy != "" && err == nil && a.host != "" {
		return a.host, port, nil
	}
	return "", "", errors.New("prove: without a service it needs HOST:PORT")
}

func resolve(ctx context.Context, host string) (list []netip.Addr, named bool, err error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, shakeLimit)
	defer cancel()
	list, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, false, err
	}
	for i, a := range list {
		list[i] = a.Unmap()
	}
	return list, true, nil
}

// view is what was seen at all places.
type view struct {
	seen []sight
	name bool
	live pair.Pair
}

// answered reports whether anybody is there.
func (w view) answered() bool {
	for _, s := range w.seen {
		if s.connected {
			return true
		}
	}
	return false
}

// counted are the sights that matter.
func (w view) counted() (list []sight) {
	if !w.name || !w.answered() {
		return w.seen
	}
	for _, s := range w.seen {
		if s.connected {
			list = append(list, s)
		}
	}
	return list
}

// proved reports whether everybody has the leaf.
func (w view) proved() bool {
	for _, s := range w.counted() {
		if !s.has(w.live) {
			return false
		}
	}
	return len(w.seen) > 0
}

// whole reports whether everybody has the chain as well.
func (w view) whole() bool {
	for _, s := range w.counted() {
		if !s.whole(w.live) {
			return false
		}
	}
	return len(w.seen) > 0
}
