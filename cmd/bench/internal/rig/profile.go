package rig

// profileVariable names the environment variable that tells a profiled server where to write.
const profileVariable = "FRESHET_BENCH_PROFILE"

// profiler is a file that is added to the program where it is built to be profiled: what production runs has no such
// switch. SIGUSR1 begins a profile and ends it.
const profiler = `package main

import (
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
)

func init() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			path := os.Getenv("` + profileVariable + `")
			file, err := os.Create(path + ".new")
			if err == nil {
				err = pprof.StartCPUProfile(file)
			}
			if err != nil {
				panic(err)
			}
			<-signals
			pprof.StopCPUProfile()
			file.Close()
			os.Rename(path+".new", path)
		}
	}()
}
`
