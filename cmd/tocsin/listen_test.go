package main

import (
	"net"
	"strings"
	"testing"
)

// TestAPortThatIsTaken: the flag to change is named, and the ports opened before it are free again.
func TestAPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := free.Addr().String()
	free.Close()

	for _, c := range []struct {
		flags webFlags
		flag  string
	}{
		{webFlags{ListenAddress: []string{address}}, "--web.listen-address"},
		{webFlags{ListenAddress: []string{first, address}}, "--web.listen-address"},
		{webFlags{ListenAddress: []string{first}, CallbackAddress: address}, "--web.callback-address"},
	} {
		l, err := c.flags.listen()
		if l != nil || err == nil || !strings.Contains(err.Error(), c.flag) || !strings.Contains(err.Error(), address) {
			t.Errorf("%+v: %v, %v", c.flags, l, err)
		}
		again, err := net.Listen("tcp", first)
		if err != nil {
			t.Fatalf("%+v: the first port is still open: %v", c.flags, err)
		}
		again.Close()
	}
}
