package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/common/model"

	"tocsin/demo"
)

// demoCmd runs the ordinary server on a world that the demo simulates. No port beyond loopback is opened.
type demoCmd struct {
	Page     string  `name:"page.listen-address" default:"127.0.0.1:0" placeholder:"ADDRESS" help:"Loopback address of the demo's page."`
	Address  string  `name:"web.listen-address" default:"127.0.0.1:0" placeholder:"ADDRESS" help:"Loopback address of tocsin itself."`
	Speed    float64 `help:"How many times faster than real the story runs." default:"${demo_speed}"`
	LogLevel string  `name:"log.level" enum:"debug,info,warn,error" default:"error" help:"Least severity to log: debug, info, warn, error."`
}

// Run shows the outage until it is interrupted.
func (c demoCmd) Run(ctx context.Context, s streams) (err error) {
	f := serveFlags{LogLevel: c.LogLevel, LogFormat: "logfmt", Retention: model.Duration(24 * time.Hour)}
	f.Web.ListenAddress = []string{c.Address}
	if err := loopbackOnly(c.Address); err != nil {
		return &failure{exitUsage, err}
	}
	log := f.logger(s)
	world, err := demo.Start(ctx, demo.Options{ListenAddress: c.Page, Speed: c.Speed, Out: s.Out, Logger: log.With("component", "demo")})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := world.Close(); err == nil {
			err = cerr
		}
	}()
	f.ConfigFile, f.Storage = world.ConfigFile, world.StorageDir
	return serve(ctx, f, log, s, func(address string) {
		world.SetTocsin("http://" + address)
		log.LogAttrs(ctx, slog.LevelInfo, "tocsin watches the demo's world", slog.String("console", "http://"+address+"/"))
		fmt.Fprintf(s.Out, "tocsin's own console is at http://%s/ · Ctrl-C ends the demo.\n", address)
	})
}
