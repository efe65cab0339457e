package main

import ("context")
func measureOutage(ctx context.Context, s settings) (report, error) { return nil, nil }
