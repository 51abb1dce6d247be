package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// healthCmd is for health checks in images that hold nothing but the binary.
type healthCmd struct {
	clientFlags
	Ready bool `name:"ready" help:"Ask whether it is ready to serve, not only whether it lives."`
}

// Run asks the probe and fails with what it says.
func (h healthCmd) Run(ctx context.Context, s streams) error {
	c, err := h.client()
	if err != nil {
		return err
	}
	path := "-/healthy"
	if h.Ready {
		path = "-/ready"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(path).String(), nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return c.unreachable(err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(text)))
	}
	fmt.Fprintln(s.Out, strings.TrimSpace(string(text)))
	return nil
}
