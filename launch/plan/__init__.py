"""The sizing simulator behind `pronghorn plan`: the system as a discrete-event model."""
