package outgoing

import (
	"context"
	"net"

	promconfig "github.com/prometheus/common/config"
)

// Dial makes the connections of what is no HTTP request, under the same guard as a client's: a socket that a far end
// asked us to open leads to no private address either.
func Dial(c promconfig.HTTPClientConfig, o Options) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return newGuard(c, o).dial
}
