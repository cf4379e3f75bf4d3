"""What image files say about themselves: OME-XML, MetaMorph properties, units of length."""
