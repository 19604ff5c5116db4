"""What every room uses: errors, files, hardware, safe loading. Nothing here knows of images or networks."""
